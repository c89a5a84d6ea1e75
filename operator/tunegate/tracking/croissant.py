"""A data statement as Croissant 1.0 (MLCommons, https://docs.mlcommons.org/croissant/docs/croissant-spec.html): JSON-LD
that catalogues of data sets read. Written by hand: it is one object, and the library `mlcroissant` brings pandas and rdflib.

It describes the files, not the columns: five forms of rows become conversations, and a record set could say only that.
"""

from __future__ import annotations

from typing import Any

from tunegate.api.datastatement import DataStatement

Json = dict[str, Any]
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
FORMATS = {
    ".jsonl": "application/jsonlines",
    ".jsonl.gz": "application/gzip",
    ".jsonl.zst": "application/zstd",
    ".parquet": "application/vnd.apache.parquet",
}
"""How a file's name ends, to its media type."""
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that `mlcroissant` 1.1 writes, whole: it warns of any other."""


def croissant(statement: DataStatement) -> Json:
    """Return the JSON-LD of the data set that a statement is about."""
    origin, split = statement.origin, statement.split
    found = "; ".join(f"{finding.check}: {finding.message}" for finding in statement.findings) or "nothing"
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{statement.namespace}-{statement.job}",
        "description": f"{statement.rows} rows of form {statement.form}, {split.training_rows} of which train and "
        f"{split.development_rows} choose the checkpoint. Source: {origin.source}. Class: {origin.classification}. "
        f"Found by the checks: {found}.",
        "license": origin.license,
        "url": origin.uri,
        "creator": {"@type": "sc:Organization", "name": origin.steward or origin.source},
        "version": f"1.0.0+{statement.rows_digest.removeprefix('sha256:')[:12]}",
        "identifier": statement.rows_digest,
        "distribution": _files(statement),
    }


def _files(statement: DataStatement) -> list[Json]:
    if statement.layout == "Folder":
        return [
            {
                "@type": "cr:FileSet",
                "@id": f"files{end}",
                "name": f"files{end}",
                "description": f"{count} files below {statement.origin.uri}; manifest {statement.digest}",
                "encodingFormat": FORMATS[end],
                "includes": f"**/*{end}",
            }
            for end, count in statement.files.items()
        ]
    (end,) = statement.files
    return [
        {
            "@type": "cr:FileObject",
            "@id": "rows",
            "name": "rows",
            "contentUrl": statement.origin.uri,
            "encodingFormat": FORMATS[end],
            "sha256": statement.digest.removeprefix("sha256:"),
        }
    ]
