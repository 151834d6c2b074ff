package layer

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// genPath is a path with every character that the text treats specially.
func genPath() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"/", "a", ",", ":", `\`, `"`, "@", "=", "+", " ", "\n", "\xff", "é"}), 1, 8).Draw(t, "parts")
		return strings.Join(parts, "")
	})
}

func genIDMap() *rapid.Generator[[]IDRange] {
	return rapid.Custom(func(t *rapid.T) []IDRange {
		var m []IDRange
		host, target := uint32(0), uint32(math.MaxUint32-1<<20)
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			host += rapid.Uint32Range(0, 1000).Draw(t, "gap")
			length := rapid.Uint32Range(1, 100000).Draw(t, "length")
			m = append(m, IDRange{host, target, length})
			host += length
			target += length
		}
		return m
	})
}

func genOptions() *rapid.Generator[*Options] {
	flip := rapid.Bool()
	return rapid.Custom(func(t *rapid.T) *Options {
		o := &Options{
			Lower:        rapid.SliceOfN(genPath(), 0, 5).Draw(t, "lower"),
			UIDMap:       genIDMap().Draw(t, "uidmap"),
			GIDMap:       genIDMap().Draw(t, "gidmap"),
			SquashToRoot: flip.Draw(t, "squash"),
			SquashUID:    rapid.Ptr(rapid.Uint32Range(0, math.MaxUint32-1), true).Draw(t, "squash uid"),
			SquashGID:    rapid.Ptr(rapid.Uint32Range(0, math.MaxUint32-1), true).Draw(t, "squash gid"),
			XattrPerm:    XattrPermissions(rapid.IntRange(0, 2).Draw(t, "xattr")),
			UserXattr:    flip.Draw(t, "userxattr"),
			Redirect:     Redirect(rapid.IntRange(0, 3).Draw(t, "redirect")),
			Metacopy:     flip.Draw(t, "metacopy"),
			Fsync:        Fsync(rapid.IntRange(0, 2).Draw(t, "fsync")),
			NoMarker:     flip.Draw(t, "nomarker"),
			Scratch:      flip.Draw(t, "scratch"),
			NoACL:        flip.Draw(t, "noacl"),
			StaticNlink:  flip.Draw(t, "nlink"),
			Xino:         rapid.SampledFrom([]string{"", "on", "off"}).Draw(t, "xino"),
			IO:           IOMode(rapid.IntRange(0, 1).Draw(t, "io")),
			NoWriteback:  flip.Draw(t, "writeback"),
			Live:         flip.Draw(t, "live"),
			SizeLimit:    rapid.Uint64().Draw(t, "size"),
			RenameLimit:  rapid.Uint64().Draw(t, "rename"),
			NoAtime:      flip.Draw(t, "noatime"),
			Debug:        flip.Draw(t, "debug"),
		}
		o.Timeout = rapid.Ptr(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "ns"))
		}), true).Draw(t, "timeout")
		if flip.Draw(t, "has upper") {
			o.Upper, o.Work = genPath().Draw(t, "upper"), genPath().Draw(t, "work")
		}
		o.ReadOnly = o.Upper == "" || flip.Draw(t, "ro")
		if flip.Draw(t, "has name") {
			o.FSName = genPath().Draw(t, "fsname")
		}
		// Of each pair at most one, as text can't say both.
		for _, p := range [][2]*bool{{&o.AllowOther, &o.AllowRoot}, {&o.NoDev, &o.Dev}, {&o.NoSuid, &o.Suid}, {&o.NoExec, &o.Exec}} {
			if i := rapid.IntRange(0, 2).Draw(t, "flag"); i < 2 {
				*p[i] = true
			}
		}
		return o
	})
}

// TestRoundTrip: what String writes, Parse reads as the same options.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := genOptions().Draw(t, "options")
		text := o.String()
		back, warnings, err := Parse([]string{text}, false)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%s: error %v, warnings %q", text, err, warnings)
		}
		same(t, text, o, back)
	})
}

// same compares options; empty and nil lists are equal.
func same(t interface{ Fatalf(string, ...any) }, text string, a, b *Options) {
	x, y := *a, *b
	for _, o := range []*Options{&x, &y} {
		o.Lower = append([]string{}, o.Lower...)
		o.UIDMap = append([]IDRange{}, o.UIDMap...)
		o.GIDMap = append([]IDRange{}, o.GIDMap...)
		o.Keep = append([]string{}, o.Keep...)
	}
	if !reflect.DeepEqual(x, y) {
		t.Fatalf("%s:\n was %+v\n now %+v", text, x, y)
	}
}

// FuzzOptions feeds any text to the parser. Text that it takes must come back
// from String unchanged in meaning, in both modes, and String must be stable.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{
		"lowerdir=/a:/b,upperdir=/u,workdir=/w,,volatile",
		`lowerdir=/a\,b:/c\:d:/e\\f,context="x,y",bla=",`,
		"uidmapping=0:1000:1:1:110000:65536,timeout=1e9,size_limit=3g",
		`lowerdir+=\@x,lowerdir=@list,=,"=",a\=b=c,\`,
		"redirect_dir=on,metacopy=1,xino=auto,io=cached,writeback=off,fsync=0,x-foo",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, lenient := range []bool{false, true} {
			o, err := fuzzParse(text, lenient)
			if err != nil {
				continue
			}
			again := o.String()
			back, err := fuzzParse(again, lenient)
			if err != nil {
				t.Fatalf("%q became %q, which is refused: %v", text, again, err)
			}
			same(t, again, o, back)
			if s := back.String(); s != again {
				t.Fatalf("%q became %q and then %q", text, again, s)
			}
		}
	})
}

// fuzzParse is Parse without files.
func fuzzParse(text string, lenient bool) (*Options, error) {
	p := parser{lenient: lenient, o: new(Options), list: func(name string) ([]string, error) {
		if name == "" {
			return nil, errors.New("no such list")
		}
		return []string{"/from", name}, nil
	}}
	o, _, err := p.parse([]string{text})
	return o, err
}
