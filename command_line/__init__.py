"""What commands have in common, whatever they run: options, exit statuses, progress."""
