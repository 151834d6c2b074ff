//go:build race

package union

const raceOn = true
