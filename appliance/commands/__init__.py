"""The commands of the appliance itself, one module each; `appliance.cli` names them."""
