package container

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// codec carries values between processes of one start, which are the same
// program: numbers as varints, texts and lists with their length before them. The
// reflection of encoding/json, for the same, cost each of three processes half a
// millisecond. One function per type says what is in it, for both directions.
type codec struct {
	b    []byte // what was written, or what is left to read
	read bool
	bad  bool
}

var errCodec = errors.New("not what this version of plyfs writes")

func (c *codec) num(v uint64) uint64 {
	if !c.read {
		c.b = binary.AppendUvarint(c.b, v)
		return v
	}
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// size is the length of what follows, at least one byte for each of it.
func (c *codec) size(n int) int {
	n = int(c.num(uint64(n)))
	if c.read && (n < 0 || n > len(c.b)) {
		c.bad, c.b, n = true, nil, 0
	}
	return n
}

func (c *codec) boolean(v *bool) {
	n := uint64(0)
	if *v {
		n = 1
	}
	*v = c.num(n) != 0
}

// integer is any whole number; negative ones are long.
func integer[T ~int | ~int64 | ~uint16 | ~uint32 | ~uint64 | ~uintptr](c *codec, v *T) {
	*v = T(c.num(uint64(*v)))
}

func (c *codec) float(v *float64) { *v = math.Float64frombits(c.num(math.Float64bits(*v))) }

func text[T ~string | ~[]byte](c *codec, v *T) {
	n := c.size(len(*v))
	if !c.read {
		c.b = append(c.b, *v...)
		return
	}
	if n > 0 {
		*v = T(slices.Clone(c.b[:n]))
	}
	c.b = c.b[n:]
}

func list[T any](c *codec, v *[]T, one func(*T)) {
	n := c.size(len(*v))
	if c.read && n > 0 {
		*v = make([]T, n)
	}
	for i := range *v {
		one(&(*v)[i])
	}
}

func texts(c *codec, v *[]string) { list(c, v, func(s *string) { text(c, s) }) }

func dict[T any](c *codec, v *map[string]T, one func(*T)) {
	n := c.size(len(*v))
	if c.read {
		if n > 0 {
			*v = make(map[string]T, n)
		}
		for range n {
			var key string
			var value T
			text(c, &key)
			one(&value)
			(*v)[key] = value
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(*v)) {
		value := (*v)[key]
		text(c, &key)
		one(&value)
	}
}

// pack is what a type's function writes.
func pack(put func(*codec)) []byte {
	c := &codec{b: make([]byte, 0, 4096)}
	put(c)
	return c.b
}

// unpack reads what pack has written.
func unpack(b []byte, get func(*codec)) error {
	c := &codec{b: b, read: true}
	get(c)
	if c.bad || len(c.b) > 0 {
		return errCodec
	}
	return nil
}
