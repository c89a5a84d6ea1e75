"""The contract: custom resources, stage documents, reasons. Nothing here does I/O."""
