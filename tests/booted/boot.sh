#!/bin/bash
# Boots a systemd in an overlay over a root folder; run in namespaces of its own by booting.py.
# boot.sh BASE REPOSITORY LOWER [PYTHON_PREFIX SITE_PACKAGES]
# Without the last two the package is not there yet, and is installed as is documented.
set -eu
base=$1 repository=$2 lower=$3 root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" "$root"

mkdir -p "$root/etc/systemd/system/imageguard-daemon.service.d"
if [ $# -gt 3 ]; then
    # The package, by an interpreter that may lie where services cannot see it.
    opt=$root/opt/imageguard-daemon
    mkdir -p "$opt"/{bin,python,site,code}
    mount --bind "$4" "$opt/python"
    mount --bind "$5" "$opt/site"
    cp -r "$repository/imageguard_daemon" "$opt/code/"
    cat >"$opt/bin/imageguard-daemon" <<'END'
#!/bin/sh
export PYTHONPATH=/opt/imageguard-daemon/code:/opt/imageguard-daemon/site PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH=/opt/imageguard-daemon/python/lib # where it looks for it may be out of sight
exec /opt/imageguard-daemon/python/bin/python3 -m imageguard_daemon "$@"
END
    chmod 755 "$opt/bin/imageguard-daemon"
    mkdir -p "$opt/share/imageguard-daemon"
    cp "$repository"/systemd/* "$opt/share/imageguard-daemon/"
else
    mkdir "$root/root/checkout"
    (cd "$repository" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory="$root/root/checkout" --)
    cp /etc/resolv.conf "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
fi
printf '[Unit]\nDescription=Nothing but the service\nRequires=sysinit.target dbus.service\nAfter=sysinit.target dbus.service\n' >"$root/etc/systemd/system/only.target"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm,mqueue,hugepages} "$root/.old"
chmod 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx" # what PrivateDevices= puts into a service's own /dev must be there
cd "$root"
pivot_root . .old
umount -l /.old
mount --make-rshared / # as the first process of a machine does it; credentials reach a unit that way
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=only.target --log-target=null </dev/null
