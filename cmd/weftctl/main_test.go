package main

import (
	"testing"

	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }
