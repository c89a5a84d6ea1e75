"""The whole way on real input: from licence texts to a served, approved adapter, shown step by step."""
