"""What more ranks bring: times of one configuration on several numbers of ranks, from logs."""
