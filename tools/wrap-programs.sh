#!/bin/sh
# Make programs of packages that were unpacked into a folder run from there:
#
#   tools/wrap-programs.sh FOLDER NAME=PATH PROGRAM...
#
# writes a small script FOLDER/bin/PROGRAM for each that the folder has. It sets the libraries of the
# folder, and the variable NAME to the PATH within it, for that program only; exec keeps the pid
# the program's. The folder may be moved.
set -eu

folder=$1
setting=$2
shift 2

# shellcheck disable=SC2016  # $root is for the script to expand
libs=$(cd "$folder" && { echo ./usr/lib/. && find . -name '*.so' -o -name '*.so.*'; } |
    sed 's|^\.\(.*\)/[^/]*$|$root\1|' | sort -u | paste -s -d :)
mkdir "$folder/wrapped"
for program in "$@"; do
    for path in usr/bin usr/sbin usr/lib/openvswitch-switch usr/lib/chromium; do
        [ -x "$folder/$path/$program" ] || continue
        cat >"$folder/wrapped/$program" <<EOT
#!/bin/sh
root=\$(CDPATH='' cd -- "\${0%/*}/.." && pwd) || exit
export LD_LIBRARY_PATH="$libs\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export ${setting%%=*}="\$root/${setting#*=}"
exec "\$root/$path/$program" "\$@"
EOT
        chmod +x "$folder/wrapped/$program"
        break
    done
done
