"""What a person types and sees in a terminal; decides nothing that another program could not ask for."""
