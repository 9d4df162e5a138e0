package main

import (
	"testing"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }
