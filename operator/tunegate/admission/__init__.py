"""Are the chart's admission rules in force? Every decision rests on them, and a cluster-admin can take them away."""
