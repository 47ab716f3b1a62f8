"""What the site says of commands, settings, causes and providers: written from the code when the site is built."""
