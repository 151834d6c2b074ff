package main

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/keeper"
)

// TestKeeperKnowsFlight: the keeper imports nothing, and reads the same memory.
func TestKeeperKnowsFlight(t *testing.T) {
	if keeper.FlightTaken != fusefs.FlightTaken || keeper.FlightSeats != fusefs.FlightSeats || keeper.SeatCount != fusefs.SeatCount {
		t.Error("the keeper looks at other places than the server writes to")
	}
	if keeper.WeightCrash != fusefs.WeightCrash || keeper.WeightKilled != fusefs.WeightKilled {
		t.Error("a death weighs more or less for the keeper than for the server")
	}
}
