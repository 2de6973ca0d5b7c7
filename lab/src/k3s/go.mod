module cloudcart.local/lab/k3s

go 1.25.0

require (
	github.com/klauspost/compress v1.18.0
	go.yaml.in/yaml/v3 v3.0.4
)
