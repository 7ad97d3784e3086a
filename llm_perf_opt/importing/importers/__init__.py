"""What can be imported, one file each: a module here exports `IMPORTER` (`importing.importer.Importer`)."""
