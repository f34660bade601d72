#!/bin/bash
# The first process of the small machine, started by machine.py, and again, as `init.sh inside`, on the root it has made.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8

if [ "$1" != inside ]; then
    . "$IMAGEGUARD_BASE/settings"
    mount -t proc proc /proc
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/{tools,upper,work,root}
    mount -t hostfs -o "$tools" none /mnt/tools
    "$tools/usr/sbin/insmod" "$tools/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    mount -t overlay overlay -o lowerdir=/mnt/tools:/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
    cd /mnt/root
    for folder in run mnt; do mount -t tmpfs tmpfs $folder; done
    mkdir mnt/host && mount -t hostfs -o "$IMAGEGUARD_BASE" none mnt/host
    mount -t devtmpfs dev dev && mkdir -p dev/shm && mount -t tmpfs tmpfs dev/shm
    mount -t sysfs sysfs sys && mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount --move /proc proc
    # Not by chroot: services get a namespace each, whose root would be the one outside.
    mkdir mnt/before && pivot_root . mnt/before
    exec chroot . "$0" inside
fi

umount -l /mnt/before
. /mnt/host/settings
out=/mnt/host/out
{
    mkdir -p /lib/modules && ln -s "/usr/lib/uml/modules/$(uname -r)" "/lib/modules/$(uname -r)"
    for module in $modules; do modprobe $module; done
    ip link set lo up
    mkdir -p /srv/export && mount /dev/ubda /srv/export
    # A copy, so that nothing that is edited meanwhile comes into it.
    mkdir -p /run/world/{checkout,sites,logs} && cp -r "$repository"/{imageguard_daemon,tests,systemd,contrib} /run/world/checkout/
    mkdir /run/world/checkout/docs && cp "$repository"/docs/*.md /run/world/checkout/docs/
} >>$out/machine.log 2>&1
cd /run/world/checkout
eval "set -- $command"
PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1 "$python" -m "$@" >>$out/figures 2>&1
echo $? >$out/code
cp -r /run/world/logs $out/
sync
halt -f -p
