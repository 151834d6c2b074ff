package container

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// identity is who the payload runs as.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// maxDatabase bounds what we read of an image's /etc/passwd.
const maxDatabase = 8 << 20

// database reads a file of the container's root; one that isn't there, or is no
// plain file, is empty.
func database(root int, name string) []byte {
	fd, err := inroot.Open(root, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(f, maxDatabase))
	return text
}

// lookUp finds who spec means, with the databases of the root.
func lookUp(root int, spec string) (identity, error) {
	if err := checkUser(spec); err != nil {
		return identity{}, err
	}
	return findUser(spec, database(root, "/etc/passwd"), database(root, "/etc/group"))
}

func findUser(spec string, passwd, group []byte) (identity, error) {
	found, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return identity{}, &failure{125, fmt.Sprintf("user %s: %v", spec, err)}
	}
	return identity{found.Uid, found.Gid, found.Sgids, found.Home}, nil
}

// checkUser refuses what looks like a number and isn't one: "1000x" must
// never be 1000, and -1 never everybody (CVE-2026-30892).
func checkUser(spec string) error {
	name, group, has := strings.Cut(spec, ":")
	parts := []string{name}
	if has {
		parts = append(parts, group)
	}
	for _, s := range parts {
		digits := strings.TrimLeft(s, "0123456789")
		odd := digits != s && digits != "" || strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+")
		if odd || strings.ContainsAny(s, ": \t\n/") || has && s == "" && spec != ":" && group == s || len(s) > 32 {
			return &failure{125, fmt.Sprintf("user %q: write NAME, UID, NAME:GROUP or UID:GID", spec)}
		}
	}
	return nil
}

// readUser sets p.user.
func (p *initProcess) readUser() (err error) {
	if p.user, err = lookUp(p.root, p.Spec.Process.User); err != nil {
		return err
	}
	return p.user.mapped(p.Inner)
}

// mapped wants the ids to exist in the user namespace.
func (u *identity) mapped(ids idMaps) error {
	why := "the container has only the ids of /etc/subuid and /etc/subgid"
	if ids.single() {
		why = "the container has one id only; give yourself more with usermod --add-subuids 100000-165535 --add-subgids 100000-165535"
	}
	if !ids.mapsUser(u.uid) {
		return &failure{125, fmt.Sprintf("user %d can't be had: %s", u.uid, why)}
	}
	if !ids.mapsGroup(u.gid) {
		return &failure{125, fmt.Sprintf("group %d can't be had: %s", u.gid, why)}
	}
	groups := u.groups[:0]
	for _, g := range u.groups {
		if ids.mapsGroup(g) {
			groups = append(groups, g)
		}
	}
	u.groups = groups
	return nil
}
