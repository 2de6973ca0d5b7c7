#!/bin/sh
# Print what there is on a machine, a line each: what has to be as it was when K3s has come and gone.
# Left out is what comes and goes by itself.
passing='ps|sed|grep|sort|sh|bash|dash|find|python3.*|sshd.*|sftp-server|systemd.*|[(]sd-pam[)]'
restless='root/[.](ansible|kube)|run/(log|user|systemd|sudo|udev|lock)|var/(log/journal|tmp|cache)'
restless="$restless|var/lib/(systemd|private)"

show() { sed "s|^|$1 |" | sort -u; }

ps -eo comm= | grep -vE "^($passing)\$" | show process
cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/run/user | show mount
find /sys/class/net -mindepth 1 | show interface
find /run/netns -mindepth 1 2>/dev/null | show namespace
{ ip route && ip -6 route; } | show route
find /sys/fs/cgroup -maxdepth 2 '(' -name 'kube*' -o -name 'k8s*' ')' | show cgroup
for save in iptables-save ip6tables-save; do
    $save 2>/dev/null | grep -E '^(-A|:[^ ]+ -)' | show "rule of $save"
done
systemctl list-unit-files --no-legend | cut -d' ' -f1 | grep -v ^run- | show unit
find /etc /usr /opt /root /srv /run /var /var/lib -xdev | grep -vE "^/($restless)(/|\$)" | show file
