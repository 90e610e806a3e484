"""The web page and the HTTP service of `ppsr serve`."""
