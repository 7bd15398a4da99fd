"""What every command needs to run: options, runners, exit statuses, dead letters, job folders."""
