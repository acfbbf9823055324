"""What every acceptance suite is made of: `claims` to claim, `cell` to run the product, `suite` to be started by."""
