"""What every part of the package uses: errors, files, console output, smoothing."""
