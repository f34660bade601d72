#!/bin/bash
# Boots a systemd in an overlay over this machine's root; run in namespaces of its own by booting.py.
# boot.sh BASE PYTHON_PREFIX SITE_PACKAGES REPOSITORY
set -eu
base=$1 prefix=$2 site=$3 repository=$4 root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$root"

# The package, by an interpreter that may lie where services cannot see it; booting.py installs the rest as is documented.
opt=$root/opt/imageguard-daemon
mkdir -p "$opt"/{bin,python,site,code} "$root/etc/systemd/system/imageguard-daemon.service.d"
mount --bind "$prefix" "$opt/python"
mount --bind "$site" "$opt/site"
cp -r "$repository/imageguard_daemon" "$opt/code/"
cat >"$opt/bin/imageguard-daemon" <<'END'
#!/bin/sh
export PYTHONPATH=/opt/imageguard-daemon/code:/opt/imageguard-daemon/site PYTHONDONTWRITEBYTECODE=1
export LD_LIBRARY_PATH=/opt/imageguard-daemon/python/lib # where it looks for it may be out of sight
exec /opt/imageguard-daemon/python/bin/python3 -m imageguard_daemon "$@"
END
chmod 755 "$opt/bin/imageguard-daemon"
mkdir "$opt/checkout" && cp -r "$repository/systemd" "$opt/checkout/"
printf '[Service]\nWatchdogSec=4\nRestartSec=1\nStandardOutput=file:/run/imageguard.log\nStandardError=file:/run/imageguard.log\n' >"$root/etc/systemd/system/imageguard-daemon.service.d/quick.conf"
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
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx" # what PrivateDevices= puts into a service's own /dev must be there
cd "$root"
pivot_root . .old
umount -l /.old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=only.target --log-target=null </dev/null
