#!/bin/sh
# Prepares Podman for the tests on this machine: limits and runtime that work without CAP_SYS_RESOURCE, and the image
# localhost/busybox:1 made from the static busybox (no registry is asked). Installs nothing, changes nothing that is
# already there, may be run any number of times. Prints what is missing and ends with 1 when it cannot.
set -eu

for tool in podman busybox tar; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "podman_setup: $tool is missing; install podman, runc, busybox-static and tar" >&2
    exit 1
  fi
done

conf=/etc/containers/containers.conf
if [ ! -e "$conf" ] && [ -w /etc ]; then
  mkdir -p /etc/containers
  runtime=
  if command -v runc >/dev/null 2>&1; then runtime='runtime = "runc"'; fi
  # Written whole or not at all: two test runs may do this at once.
  cat >"$conf.$$" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
$runtime
EOF
  mv "$conf.$$" "$conf"
fi

image=localhost/busybox:1
if podman image exists "$image"; then exit 0; fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/tmp" "$root/etc" "$root/root" "$root/usr/bin"
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $(busybox --list); do
  if [ "$applet" != busybox ]; then ln -s busybox "$root/bin/$applet"; fi
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo 'nogroup:x:65534:' >>"$root/etc/group"
tar c -C "$root" . | podman import --change 'ENV PATH=/bin:/usr/bin' --change 'CMD ["/bin/sh"]' - "$image" >/dev/null
