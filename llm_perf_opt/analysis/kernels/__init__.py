"""What limits each profiled kernel: figures, class, arithmetic against the roof."""
