module cloudcart.local/lab/pause

go 1.25.0
