"""`python -m appliance` is the `scanlight` command."""

from appliance.cli import main

main()
