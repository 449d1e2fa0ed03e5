"""What may be built: model YAMLs, blocks, primitive ops, search spaces. No torch here."""
