"""Running a command: options, runners, exit statuses, dead letters and job folders."""
