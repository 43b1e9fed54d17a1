#!/bin/sh
# pulumi-language-python: starts the Python language host that lies beside this file.
# The engine starts it in the program's folder. It takes the first Python that has the Pulumi SDK of: the project's
# virtual environment (Pulumi.yaml, runtime.options.virtualenv), the active one, python3 on PATH.

host=$(dirname -- "$0")/language-host-@DIGEST@/host.py

has_sdk() {
    for sdk in "$1"/lib*/python3*/site-packages/pulumi/runtime/proto; do
        [ -d "$sdk" ] && [ -x "$1/bin/python" ] && return 0
    done
    return 1
}

tried=
folder=$PWD
while [ "$folder" != / ]; do
    for name in Pulumi.yaml Pulumi.yml PulumiPlugin.yaml PulumiPolicy.yaml; do
        [ -f "$folder/$name" ] || continue
        named=$(sed -n "s/^\([^#]*[[:space:]{]\)\{0,1\}virtualenv:[[:space:]]*[\"']\{0,1\}\([^\"',}#]*\).*/\2/p" "$folder/$name" |
            sed -n '1s/[[:space:]]*$//p')
        case $named in
        '') continue ;;
        /*) environment=$named ;;
        *) environment=$folder/$named ;;
        esac
        has_sdk "$environment" && exec "$environment/bin/python" "$host" "$@"
        tried="$tried
  $environment (virtualenv in $folder/$name)"
    done
    folder=$(dirname -- "$folder")
done

if [ -n "$VIRTUAL_ENV" ]; then
    has_sdk "$VIRTUAL_ENV" && exec "$VIRTUAL_ENV/bin/python" "$host" "$@"
    tried="$tried
  $VIRTUAL_ENV (VIRTUAL_ENV)"
fi
if python=$(command -v python3); then
    "$python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("pulumi"))' &&
        exec "$python" "$host" "$@"
    tried="$tried
  $python (python3 on PATH)"
fi
echo "error: no Python with the Pulumi SDK to run this project's program with. Looked at:$tried
Set up the project's environment (make setup, or pip install pulumi into one of them)." >&2
exit 1
