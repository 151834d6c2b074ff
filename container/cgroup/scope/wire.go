package scope

import (
	"encoding/binary"
	"errors"
)

// The messages of D-Bus: a head of 16 bytes, an array of header fields, padding
// to 8, a body. Every value is aligned to its size, counted from the start of
// the message (the body begins aligned, so that it can be counted by itself).

var order = binary.NativeEndian

// endian is the letter for this machine's byte order.
func endian() byte {
	if order.Uint16([]byte{1, 0}) == 1 {
		return 'l'
	}
	return 'B'
}

const (
	kindCall, kindReply, kindError, kindSignal                         = 1, 2, 3, 4
	fieldPath, fieldInterface, fieldMember, fieldErrorName, fieldReply = 1, 2, 3, 4, 5
	fieldDestination, fieldSignature                                   = 6, 8

	headLength = 16
	maxLength  = 16 << 20 // what we read of one message
)

// encoder appends values.
type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u32(v uint32) {
	e.align(4)
	e.b = order.AppendUint32(e.b, v)
}

func (e *encoder) str(s string) {
	e.u32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) sig(s string) {
	e.b = append(append(append(e.b, byte(len(s))), s...), 0)
}

// array writes one with elements that are aligned to n: its length in bytes
// comes first, without the padding before the first element.
func (e *encoder) array(n int, elements func()) {
	e.u32(0)
	at := len(e.b)
	e.align(n)
	start := len(e.b)
	elements()
	order.PutUint32(e.b[at-4:], uint32(len(e.b)-start))
}

// property begins an element of a(sv); its value comes next.
func (e *encoder) property(name, signature string) {
	e.align(8)
	e.str(name)
	e.sig(signature)
}

// encode is the whole message of a call.
func (m *call) encode(serial uint32) []byte {
	destination, path := m.address()
	e := &encoder{[]byte{endian(), kindCall, 0, 1}}
	e.u32(uint32(len(m.body)))
	e.u32(serial)
	e.array(8, func() {
		field := func(code byte, signature, value string) {
			e.align(8)
			e.b = append(e.b, code)
			e.sig(signature)
			e.str(value)
		}
		field(fieldPath, "o", path)
		field(fieldInterface, "s", m.iface)
		field(fieldMember, "s", m.member)
		field(fieldDestination, "s", destination)
		if m.signature != "" {
			e.align(8)
			e.b = append(e.b, fieldSignature)
			e.sig("g")
			e.sig(m.signature)
		}
	})
	e.align(8)
	return append(e.b, m.body...)
}

// message is what comes back.
type message struct {
	kind      byte
	replyTo   uint32
	member    string
	errorName string
	body      decoder
}

var errMalformed = errors.New("a malformed message of D-Bus")

// lengthAfter says how much follows the head.
func lengthAfter(head []byte) (int, error) {
	body, fields := order.Uint32(head[4:]), order.Uint32(head[12:])
	if head[0] != endian() || body > maxLength || fields > maxLength {
		return 0, errMalformed
	}
	return int(fields+7)&^7 + int(body), nil
}

// parse takes a whole message apart.
func parse(all []byte) (*message, error) {
	m := &message{kind: all[1]}
	fields := int(order.Uint32(all[12:]))
	d := decoder{b: all[:headLength+fields], at: headLength}
	for d.err == nil && d.at < len(d.b) {
		d.align(8)
		code, signature := d.byte(), d.sig()
		switch signature {
		case "s", "o":
			v := d.str()
			switch code {
			case fieldMember:
				m.member = v
			case fieldErrorName:
				m.errorName = v
			}
		case "u":
			v := d.u32()
			if code == fieldReply {
				m.replyTo = v
			}
		case "g":
			d.sig()
		default:
			d.err = errMalformed
		}
	}
	m.body.b = all[(headLength+fields+7)&^7:]
	return m, d.err
}

// decoder takes values from the front; the first one that isn't there is an
// error, and all after it are empty.
type decoder struct {
	b   []byte
	at  int
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err == nil && (n < 0 || n > len(d.b)-d.at) {
		d.err = errMalformed
	}
	if d.err != nil {
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) align(n int) { d.take((n - d.at%n) % n) }

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	d.align(4)
	if b := d.take(4); b != nil {
		return order.Uint32(b)
	}
	return 0
}

func (d *decoder) text(n int) string {
	s := string(d.take(n))
	d.take(1) // the zero at its end
	return s
}

func (d *decoder) str() string { return d.text(int(d.u32())) }
func (d *decoder) sig() string { return d.text(int(d.byte())) }
