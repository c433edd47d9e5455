"""Who answers the queries: processes, clusters, and what runs in them."""
