"""An avatar as one HTML page: what it holds, how that is packed, and the scripts that render it in a browser."""
