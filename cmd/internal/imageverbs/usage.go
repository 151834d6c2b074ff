package imageverbs

const commitUsage = `usage: plyfs commit [FLAG…] CONTAINER [IMAGE]

Makes an image of what a container has changed, on the image that it was made
of, and prints its id. Its configuration is that of the image, with the changes.
It takes as long as there are changes. With SOURCE_DATE_EPOCH set, the same
changes give the same image.

  -a, --author TEXT
  -m, --message TEXT
  -c, --change INSTRUCTION   CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER,
                             VOLUME or WORKDIR, as in a Dockerfile
  --no-pause                 let a running container go on meanwhile
  -q, --quiet
  --root DIR
`

const imagesUsage = `usage: plyfs images [FLAG…] [REPOSITORY[:TAG]]

Lists images, the youngest first.

  -a, --all          (all are listed anyway)
  -q, --quiet        ids only
  --digests          with the digests that registries know them by
  --no-trunc         whole ids
  --format table|json|TEMPLATE
  --root DIR
`

const historyUsage = `usage: plyfs history [FLAG…] IMAGE

Says how the layers of an image came to be, the youngest first.

  -q, --quiet        ids of layers only
  --no-trunc         whole commands
  --format table|json|TEMPLATE
  --root DIR
`

const inspectUsage = `usage: plyfs image inspect [FLAG…] IMAGE…

Prints all that is known of images, as docker does.

  --format json|TEMPLATE
  --root DIR
`

const imageUsage = `usage: plyfs image ls|pull|push|load|save|import|rm|tag|history|inspect|prune|tree …

The verbs about images under their longer names; plyfs image VERB -h says more.

  --root DIR
`

const loadUsage = `usage: plyfs load [FLAG…] [FILE|DIRECTORY]

Takes images out of an archive: an OCI layout (a directory, or a tar file), or
what docker save and podman save write; compressed or not; from the standard
input when no file is given. It prints their names.

  -i, --input FILE
  -q, --quiet              no progress
  --platform OS/ARCH       which one to take of an image for several
  --max-size SIZE, --max-entries N   what a layer may unpack to (default: what
                           the file system has room for)
  --root DIR
`

const saveUsage = `usage: plyfs save [FLAG…] IMAGE…

Writes images to an archive that plyfs, docker, podman and containerd load: an
OCI layout that is what docker save writes, too. The same images give the same
bytes.

  -o, --output FILE        else the standard output
  --format FORMAT          archive (default), or oci-dir: a directory
  --root DIR
`

const importUsage = `usage: plyfs import [FLAG…] FILE|- [IMAGE]
       plyfs import --bootstrap [IMAGE]

Makes an image of one layer from a tarball of a root, which may be compressed,
and prints its id. --bootstrap makes one of this machine's own programs, called
local/tiny: of busybox where there is a static one, else of a shell and some
tools with their libraries. No registry is needed for it.

  -m, --message TEXT
  -c, --change INSTRUCTION   CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER,
                             VOLUME or WORKDIR, as in a Dockerfile
  --platform OS/ARCH
  -q, --quiet
  --max-size SIZE, --max-entries N
  --root DIR
`

const repairUsage = `usage: plyfs-image repair IMAGE

Unpacks layers of an image that are missing. plyfs run does this by itself.
`

const pullUsage = `usage: plyfs pull [FLAG…] IMAGE

Gets an image from its registry, or a mirror of that, and prints its id. A name
without a registry is one of docker.io. Credentials are those of docker login and
podman login; mirrors, and registries without encryption, are in the
configuration (plyfs config default). A pull that was stopped is gone on with.

  -q, --quiet              no progress
  --platform OS/ARCH[/VARIANT]   default: this machine's
  --max-size SIZE, --max-entries N   what a layer may unpack to
  --root DIR
`

const pushUsage = `usage: plyfs push [FLAG…] IMAGE [NAME]

Sends an image to the registry that its name, or NAME, begins with, and prints the
digest that it has there.

  -q, --quiet
  --root DIR
`

const rmiUsage = `usage: plyfs rmi [FLAG…] IMAGE…

Takes names of images away. An image without a name is deleted, and what no
other image and no container needs of it.

  -f, --force   also one that containers use (its layers stay as long as they
                do), or that has several names and is given by its id
  --root DIR
`

const tagUsage = `usage: plyfs tag IMAGE NAME…

Gives an image more names.

  --root DIR
`

const pruneUsage = `usage: plyfs image prune [FLAG…]

Deletes images without a name, layers and blobs that nothing needs, and what
was left of pulls that did not end.

  -a, --all     also images with a name that no container uses
  -f, --force   don't ask
  --root DIR
`

const systemUsage = `usage: plyfs system df [--format table|json|TEMPLATE]
       plyfs system prune [-a] [-f]
       plyfs system check [--repair]

df says what images take on disk, and how much of that nothing needs; prune
deletes the containers that have ended, and then what plyfs image prune does
(sandboxes stay; -a: also images with a name that no container uses; -f doesn't
ask); check reads all blobs and compares them with their digests, and with
--repair deletes what is damaged, so that the next plyfs pull gets it again.

  --root DIR
`

const treeUsage = `usage: plyfs tree [FLAG…] IMAGE

Says for each layer of an image which command made it, how many files it adds,
changes and deletes, its bytes, and how many bytes of layers below it hides.

  -a, --all              also the files: A added, C changed, D deleted
  -q, --quiet            names of layers only
  --format table|json|TEMPLATE
  --root DIR
`

const exploreUsage = `usage: plyfs explore [FLAG…] IMAGE|CONTAINER|SANDBOX|DIRECTORY|ARCHIVE

Shows on the terminal what the layers of an image or a container do: the files of
each, what it adds, changes and deletes, and what was changed in a file. It takes
what runs, too, and OCI layouts and archives without loading them. ? lists the
keys. Of the host below a sandbox, only what the sandbox has changed is shown.

  --ci                what dive --ci does: measures waste, judges it by rules, and
                      exits with 1 when one fails; CI=true in the environment does so
  --ci-config FILE    the rules (default: .dive-ci where there is one)
  --lowestEfficiency N, --highestWastedBytes SIZE, --highestUserWastedPercent N
                      (defaults: 0.9, disabled, 0.1)
  --name NAME         which image of an archive
  --platform OS/ARCH[/VARIANT]
  --root DIR
`
