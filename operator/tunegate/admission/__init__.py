"""Are the rules in force, the chart's admission policies and our CRDs? Every decision rests on them, and a cluster-admin can change them."""
