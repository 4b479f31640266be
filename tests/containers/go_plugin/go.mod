module example.org/kms

go 1.19
