"""How a service is carried: network between its pods, routers before them, scaling, routes, adapters. Pure."""
