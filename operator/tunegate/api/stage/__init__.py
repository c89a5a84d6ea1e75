"""The contract between the operator and stage pods: one JSON document in, one JSON document out."""
