"""What a stage is: its settings, columns, reasons and schedule."""
