package layer

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

// TestParse: text in, options out. The ones marked podman were logged from
// containers/storage, the ones marked containerd from its mount helper.
func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want Options
	}{
		{"read-only", []string{"lowerdir=/a:/b"}, Options{Lower: []string{"/a", "/b"}, ReadOnly: true}},
		{
			"three directories",
			[]string{"lowerdir=/a,upperdir=/u,workdir=/w"},
			Options{Lower: []string{"/a"}, Upper: "/u", Work: "/w"},
		},
		{
			"podman, container",
			[]string{"lowerdir=l/ABC:l/DEF,upperdir=/s/overlay/1/diff,workdir=/s/overlay/1/work,,volatile"},
			Options{Lower: []string{"l/ABC", "l/DEF"}, Upper: "/s/overlay/1/diff", Work: "/s/overlay/1/work", Fsync: FsyncVolatile},
		},
		{
			"podman, id maps",
			[]string{"lowerdir=/a,upperdir=/u,workdir=/w,uidmapping=0:1000:1:1:110000:65536,gidmapping=0:1000:1:1:110000:65536"},
			Options{
				Lower: []string{"/a"}, Upper: "/u", Work: "/w",
				UIDMap: []IDRange{{0, 1000, 1}, {1, 110000, 65536}}, GIDMap: []IDRange{{0, 1000, 1}, {1, 110000, 65536}},
			},
		},
		{
			"podman, SELinux and force_mask",
			[]string{`lowerdir=/a,upperdir=/u,workdir=/w,context="system_u:object_r:container_file_t:s0:c1,c2",xattr_permissions=2`},
			Options{Lower: []string{"/a"}, Upper: "/u", Work: "/w", XattrPerm: XattrPermUser},
		},
		{
			"containerd, several -o",
			[]string{"workdir=/w", "upperdir=/u", "lowerdir=/a:/b"},
			Options{Lower: []string{"/a", "/b"}, Upper: "/u", Work: "/w"},
		},
		{"empty elements", []string{",,lowerdir=/a,,", ""}, Options{Lower: []string{"/a"}, ReadOnly: true}},
		{
			"escapes",
			[]string{`lowerdir=/a\,b:/c\:d:/e\\f:/g\h,upperdir=/u\,1,workdir=/w\:1`},
			Options{Lower: []string{"/a,b", "/c:d", `/e\f`, "/gh"}, Upper: "/u,1", Work: "/w:1"},
		},
		{"quoted value", []string{`lowerdir="/a,b:/c"`}, Options{Lower: []string{"/a,b", "/c"}, ReadOnly: true}},
		{"quote in the middle", []string{`lowerdir=/a"b,ro`}, Options{Lower: []string{`/a"b`}, ReadOnly: true}},
		{"quote that doesn't end", []string{`lowerdir="/a,ro`}, Options{Lower: []string{`"/a`}, ReadOnly: true}},
		{"lowerdir+ adds", []string{"lowerdir=/a:/b,lowerdir+=/c:1,lowerdir+=/d"}, Options{Lower: []string{"/a", "/b", "/c:1", "/d"}, ReadOnly: true}},
		{"lowerdir replaces", []string{"lowerdir=/a,lowerdir=/b"}, Options{Lower: []string{"/b"}, ReadOnly: true}},
		{"at sign escaped", []string{`lowerdir=\@a:./@b`}, Options{Lower: []string{"@a", "./@b"}, ReadOnly: true}},
		{"rw after ro", []string{"lowerdir=/a,upperdir=/u,workdir=/w,ro,rw"}, Options{Lower: []string{"/a"}, Upper: "/u", Work: "/w"}},
		{"ro with an upper", []string{"lowerdir=/a,upperdir=/u,ro"}, Options{Lower: []string{"/a"}, Upper: "/u", ReadOnly: true}},
		{
			"squash",
			[]string{"lowerdir=/a,squash_to_root,squash_to_uid=0,squash_to_gid=7"},
			Options{Lower: []string{"/a"}, ReadOnly: true, SquashToRoot: true, SquashUID: ptr[uint32](0), SquashGID: ptr[uint32](7)},
		},
		{
			"kernel names",
			[]string{"lowerdir=/a,userxattr,redirect_dir=nofollow,metacopy=on,xino=on"},
			Options{Lower: []string{"/a"}, ReadOnly: true, UserXattr: true, Redirect: RedirectNoFollow, Metacopy: true, Xino: "on"},
		},
		{"redirect_dir=follow", []string{"lowerdir=/a,redirect_dir=follow"}, Options{Lower: []string{"/a"}, ReadOnly: true, Redirect: RedirectOff}},
		{"fsync=0", []string{"lowerdir=/a,fsync=0"}, Options{Lower: []string{"/a"}, ReadOnly: true, Fsync: FsyncVolatile}},
		{"fsync=strict", []string{"lowerdir=/a,volatile,fsync=strict"}, Options{Lower: []string{"/a"}, ReadOnly: true, Fsync: FsyncStrict}},
		{
			"modes",
			[]string{"lowerdir=/a,noacl,static_nlink,live,writeback=0,io=cached,timeout=1.5"},
			Options{Lower: []string{"/a"}, ReadOnly: true, NoACL: true, StaticNlink: true, Live: true, NoWriteback: true, IO: IOCached, Timeout: ptr(1500 * time.Millisecond)},
		},
		{"timeout as strtod reads it", []string{"lowerdir=/a,timeout=1e9"}, Options{Lower: []string{"/a"}, ReadOnly: true, Timeout: ptr(1e9 * time.Second)}},
		{
			"sizes",
			[]string{"lowerdir=/a,size_limit=10G,rename_limit=512k"},
			Options{Lower: []string{"/a"}, ReadOnly: true, SizeLimit: 10 << 30, RenameLimit: 512 << 10},
		},
		{
			"mount flags",
			[]string{"lowerdir=/a,allow_other,default_permissions,nodev,nosuid,noexec,noatime"},
			Options{Lower: []string{"/a"}, ReadOnly: true, AllowOther: true, NoDev: true, NoSuid: true, NoExec: true, NoAtime: true},
		},
		{
			"mount flags, the last one counts",
			[]string{"lowerdir=/a,nodev,dev,nosuid,suid,noexec,exec,noatime,atime,allow_other,allow_root"},
			Options{Lower: []string{"/a"}, ReadOnly: true, Dev: true, Suid: true, Exec: true, AllowRoot: true},
		},
		{"fstab words", []string{"lowerdir=/a,defaults,user,noauto,nofail,_netdev,x-systemd.automount"}, Options{Lower: []string{"/a"}, ReadOnly: true}},
		{"debug, fsname", []string{"lowerdir=/a,debug,fsname=overlay"}, Options{Lower: []string{"/a"}, ReadOnly: true, Debug: true, FSName: "overlay"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, lenient := range []bool{false, true} {
				got, _, err := Parse(tt.args, lenient)
				if err != nil {
					t.Fatalf("lenient %v: %v", lenient, err)
				}
				if !reflect.DeepEqual(*got, tt.want) {
					t.Errorf("lenient %v:\n got %+v\nwant %+v", lenient, *got, tt.want)
				}
			}
		})
	}
}

// TestParseErrors: every error is one line that names the option and the way
// out.
func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"uperdir=/u", `unknown option "uperdir"; did you mean upperdir?`},
		{"redirectdir=on", `did you mean redirect_dir?`},
		{"voaltile", `did you mean volatile?`},
		{"qqqqqqqqqq", `unknown option "qqqqqqqqqq"; plyfs mount -h lists`},
		{"ro=1", "ro takes no value"},
		{"lowerdir", "lowerdir needs a value: write lowerdir=DIR"},
		{"lowerdir=/a::/b", "data-only layers"},
		{"lowerdir=:/a", "empty directory name"},
		{"lowerdir+=", "empty directory name"},
		{"lowerdir=@/nonexistent/list", "cannot read the list of layers"},
		{"lowerdir=@/dev/null", "lists no directory"},
		{"lowerdir=@/dev/zero", "/dev/zero"},
		{"upperdir=", "option upperdir: the value is empty"},
		{"uidmapping=0:1", "not an id map"},
		{"uidmapping=0:1:0", "not a range of ids"},
		{"uidmapping=4294967290:0:100", "not a range of ids"},
		{"uidmapping=0:0:10:5:100:10", "maps an id twice"},
		{"gidmapping=0:0:10:100:9:10", "maps an id twice"},
		{"gidmapping=a:b:c", "not an id"},
		{"squash_to_uid=-1", "not an id"},
		{"squash_to_uid=4294967295", "not an id"},
		{"xattr_permissions=3", "0|1|2"},
		{"redirect_dir=maybe", "on|off|follow|nofollow"},
		{"metacopy=yes", "neither on nor off"},
		{"fsync=2", "auto|strict|volatile"},
		{"xino=1", "auto|on|off"},
		{"io=direct", "auto|cached"},
		{"timeout=", "not a number of seconds"},
		{"timeout=-1", "not a number of seconds"},
		{"timeout=nan", "not a number of seconds"},
		{"size_limit=ten", "not a size"},
		{"size_limit=20000000t", "not a size"},
		{"size_limit=", "not a size"},
		{"rename_limit=0", "the least is 1"},
		{"index=on", "kernel overlayfs; hard links survive"},
		{"lazytime", "mount(8)"},
		{"threaded=1", "fuse-overlayfs"},
		{"max_write=4096", "libfuse"},
		{"remount", "unmount and mount again"},
	}
	for _, tt := range tests {
		_, _, err := Parse([]string{tt.text}, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", tt.text, err, tt.want)
		}
	}
}

// TestLenient: what a strict caller is refused, a lenient one is warned of;
// wrong values are errors for both.
func TestLenient(t *testing.T) {
	o, warnings, err := Parse([]string{`lowerdir=:/a:,bla,foo=b\,ar,ro=1,lazytime,index=on,context="a,b",plugins=/x`}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"unknown argument ignored: bla", `unknown argument ignored: foo=b\,ar`, "unknown argument ignored: ro=1",
		"argument ignored: lazytime (", "argument ignored: index (", "context= ignored", "argument ignored: plugins (",
	}
	if len(warnings) != len(want) {
		t.Fatalf("warnings %q, want %d", warnings, len(want))
	}
	for i, w := range want {
		if !strings.HasPrefix(warnings[i], w) {
			t.Errorf("warning %q, want %q", warnings[i], w)
		}
	}
	if w := []string{"bla", `foo=b\,ar`, "ro=1"}; !reflect.DeepEqual(o.Keep, w) {
		t.Errorf("kept %q, want %q", o.Keep, w)
	}
	if !reflect.DeepEqual(o.Lower, []string{"/a"}) {
		t.Errorf("lower %q: empty names don't count in lenient text", o.Lower)
	}
	if _, _, err := Parse([]string{"xino=1"}, true); err == nil {
		t.Error("a wrong value is accepted")
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"lowerdir=/a,lowerdir=/b":       "only the last one counts",
		"lowerdir=/a,workdir=/w":        "has no use without upperdir",
		"lowerdir=/a,rootcontext=x:y:z": "rootcontext= ignored",
	} {
		_, warnings, err := Parse([]string{text}, false)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("%s: warnings %q, error %v, want %q", text, warnings, err, want)
		}
	}
}

// TestManyLayers: thousands of layers, by text and by a file.
func TestManyLayers(t *testing.T) {
	var dirs []string
	for i := range 5000 {
		dirs = append(dirs, "/var/lib/layers/"+strings.Repeat("x", 40)+string(rune('a'+i%26)))
	}
	file := filepath.Join(t.TempDir(), "list,1")
	if err := os.WriteFile(file, []byte("\n"+strings.Join(dirs, "\n\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"lowerdir=" + strings.Join(dirs, ":"),
		"lowerdir=@" + escape(file, ":"),
		"lowerdir+=@" + escape(file, ":"),
		"lowerdir+=" + strings.Join(dirs, ",lowerdir+="),
	} {
		o, _, err := Parse([]string{text}, false)
		if err != nil {
			t.Fatalf("%.30s…: %v", text, err)
		}
		if !reflect.DeepEqual(o.Lower, dirs) {
			t.Errorf("%.30s…: %d layers, want %d", text, len(o.Lower), len(dirs))
		}
	}
}

// TestNearest: typing errors find their word, other words find none.
func TestNearest(t *testing.T) {
	words := []string{"mount", "umount", "doctor"}
	for word, want := range map[string]string{
		"mont": "mount", "mnt": "mount", "unmount": "umount", "doktor": "doctor", "mount": "mount",
		"run": "", "": "", "xyzzyxyzzy": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
