"""What holds in this cluster, and who could get around it: looked at with one person's own rights, nothing is changed."""
