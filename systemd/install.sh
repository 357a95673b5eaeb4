#!/bin/sh
# Installs, upgrades, rolls back and removes Scanlight on a machine with systemd.
set -eu
umask 022

usage() {
    cat <<'END'
install.sh install WHEEL   install Scanlight from its wheel, or upgrade it; again, it changes nothing
install.sh configure       after a change of /etc/scanlight.yaml: check it, open the sandbox for it, restart
install.sh gpu DIR         bring TensorRT and PyCUDA from the wheels in DIR, for this version and later ones
install.sh rollback        run the version before again, with the journal that it can read
install.sh uninstall       remove everything but the configuration, the state folder and the user

  --wheelhouse DIR   take the dependencies from the wheels in DIR: for a machine without internet
  --python PYTHON    a Python of 3.11 or newer; default: python3
  --root DIR         a rehearsal: install below DIR, and start nothing
END
}

main() {
    root='' wheelhouse='' python=python3 command='' named=''
    while [ $# -gt 0 ]; do
        case $1 in
        --root | --wheelhouse | --python)
            [ $# -gt 1 ] || fail "$1 needs a value: see install.sh --help."
            case $1 in
            --root) root=$(folder "$2") ;;
            --wheelhouse) wheelhouse=$(folder "$2") ;;
            --python) python=$2 ;;
            esac
            shift
            ;;
        -h | --help) usage && exit 0 ;;
        -*) fail "There is no option $1: see install.sh --help." ;;
        *)
            if [ -z "$command" ]; then
                command=$1
            elif [ "$command" = install ] || [ "$command" = gpu ] && [ -z "$named" ]; then
                named=$1
            else
                fail "$1 is one word too many: see install.sh --help."
            fi
            ;;
        esac
        shift
    done

    opt=$root/opt/scanlight
    config=$root/etc/scanlight.yaml
    library=$root/usr/local/lib
    dropin=$root/etc/systemd/system/scanlight.service.d/10-configuration.conf
    command_link=$root/usr/local/bin/scanlight
    completion=$root/usr/local/share/bash-completion/completions/scanlight
    [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "Only root can do this: run it with sudo, or rehearse with --root DIR."

    for tool in systemd-sysusers systemd-tmpfiles; do
        command -v $tool >/dev/null || fail "Scanlight runs as a service of systemd, and $tool is missing here: apt-get install systemd."
    done

    case $command in
    install) install_wheel "$named" ;;
    gpu) bring_gpu "$named" ;;
    configure) configure ;;
    rollback) roll_back ;;
    uninstall) uninstall ;;
    '') usage && exit 1 ;;
    *) fail "There is no command $command: see install.sh --help." ;;
    esac
}

fail() {
    echo "$*" >&2
    exit 1
}

folder() {
    [ -d "$1" ] || fail "There is no folder $1: make it, or name another."
    cd "$1" && pwd
}

# Whether there is a service manager to talk to.
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

version_of() { readlink "$opt/$1" || true; }

install_wheel() {
    wheel=$1
    [ -f "$wheel" ] || fail "There is no wheel ${wheel:-named}: name the file scanlight-VERSION-py3-none-any.whl."
    version=$(basename "$wheel")
    version=${version#scanlight-}
    [ "$version" != "${version%-py3-none-any.whl}" ] || fail "$wheel is no wheel of Scanlight: its name is scanlight-VERSION-py3-none-any.whl."
    version=${version%-py3-none-any.whl}
    current=$(version_of current)
    if [ "$(cat "$opt/$version/wheel.sha256" 2>/dev/null)" = "$(sha256 "$wheel")" ]; then
        echo "Scanlight $version is there already."
    elif [ "$version" = "$current" ]; then
        fail "Scanlight $version runs here from another wheel: build the new one with another version."
    else
        make_environment
    fi
    if [ "$version" != "$current" ]; then
        switch_to "$version"
    fi
    for other in "$opt"/*/; do
        other=$(basename "$other")
        case $other in
        current | previous | gpu | "$version" | "$(version_of previous)") ;;
        *) rm -rf "${opt:?}/$other" ;;
        esac
    done
    place_units
    if [ -f "$config" ]; then
        start_with start
    else
        "$opt/current/bin/scanlight" config example >"$config"
        set_owners
        echo "Scanlight $version is installed. Name the export folder in $config, then run: install.sh configure"
    fi
}

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

# A virtual environment for this version alone. The digest of its wheel comes last: without it, it is made anew.
make_environment() {
    "$python" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Scanlight needs Python 3.11 or newer with its venv module, and $python is not: apt-get install python3 python3-venv, or name another with --python."
    case $root$("$python" -I -c 'import os, sys; print(os.path.realpath(sys._base_executable))') in
    /home/* | /root/*) fail "$python lies in a home folder, which the service does not see: apt-get install python3 python3-venv, or name another with --python." ;;
    esac
    environment=$opt/$version
    echo "Installing Scanlight $version into $environment."
    rm -rf "$environment"
    mkdir -p "$opt"
    if ! fill_environment; then
        rm -rf "$environment"
        fail "Scanlight $version cannot be installed, for the reason above: nothing was changed. Without internet, name the dependencies' wheels with --wheelhouse DIR."
    fi
    sha256 "$wheel" >"$environment/wheel.sha256"
}

fill_environment() {
    "$python" -I -m venv "$environment" &&
        "$environment/bin/python" -I -m zipfile -e "$wheel" "$environment/wheel" &&
        pip_install --require-hashes --requirement "$environment/wheel/scanlight-$version.data/data/share/scanlight/requirements-run.lock" &&
        rm -r "$environment/wheel" &&
        pip_install --no-deps "$wheel" &&
        { [ ! -d "$opt/gpu" ] || install_gpu "$environment" "$opt/gpu"; } &&
        "$environment/bin/scanlight" --version >/dev/null
}

pip_install() {
    if [ -n "$wheelhouse" ]; then
        set -- --no-index --find-links "$wheelhouse" "$@"
    fi
    "$environment/bin/python" -I -m pip install --quiet --disable-pip-version-check "$@"
}

# They are kept, since each version has an environment of its own.
bring_gpu() {
    version=$(version_of current)
    [ -n "$version" ] || fail "Scanlight is not installed here: run install.sh install WHEEL first."
    [ -n "$1" ] || fail "Name the folder with the wheels of TensorRT and PyCUDA: see install.sh --help."
    set -- "$(folder "$1")"
    [ -n "$(find "$1" -name 'pycuda-*.whl')" ] || fail "$1 holds no wheel of PyCUDA: docs/installing.md tells how the folder is made."
    rm -rf "$opt/gpu.new"
    mkdir "$opt/gpu.new"
    cp "$1"/*.whl "$opt/gpu.new"
    stop
    if ! install_gpu "$opt/$version" "$opt/gpu.new"; then
        rm -rf "$opt/gpu.new"
        [ ! -f "$config" ] || start_with start
        fail "The wheels in $1 cannot be installed, for the reason above: they must be for the Python of $opt/$version."
    fi
    rm -rf "$opt/gpu"
    mv -T "$opt/gpu.new" "$opt/gpu"
    if [ -f "$config" ]; then
        start_with start
    fi
}

install_gpu() { "$1/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$2"/*.whl; }

# Stops the one that runs only once this one is known to start. One that cannot read the journal of a newer one
# gets the journal from before its upgrade.
switch_to() {
    accepts_configuration "$1" || fail "Scanlight $1 does not take $config: nothing was changed; mend it and try again."
    before=$(version_of current)
    stop
    if [ -n "$before" ] && [ -f "$config" ] && ! as_service "$opt/$1/bin/scanlight" rollback --config "$config"; then
        version=$before
        start_with start
        fail "Scanlight $1 cannot go on with the journal, for the reason above: $before runs on."
    fi
    [ -z "$before" ] || point previous "$before"
    point current "$1"
}

accepts_configuration() { [ ! -f "$config" ] || "$opt/$1/bin/scanlight" config check "$config" >/dev/null; }

# A link is replaced in one step.
point() {
    ln -sfn "$2" "$opt/.$1"
    mv -T "$opt/.$1" "$opt/$1"
}

# The units are those of the version that runs.
place_units() {
    units=$opt/current/share/scanlight/systemd
    mkdir -p "$library/systemd/system" "$library/sysusers.d" "$library/tmpfiles.d" "$(dirname "$dropin")"
    install -C -m 644 "$units/scanlight.service" "$library/systemd/system/scanlight.service"
    install -C -m 644 "$units/sysusers.conf" "$library/sysusers.d/scanlight.conf"
    install -C -m 644 "$units/tmpfiles.conf" "$library/tmpfiles.d/scanlight.conf"
    mkdir -p "$(dirname "$command_link")"
    ln -sfn "$opt/current/bin/scanlight" "$command_link"
    if [ -d "$root/usr/share/bash-completion" ]; then
        place_completion
    fi
    if [ "$(id -u)" = 0 ]; then
        systemd-sysusers ${root:+--root="$root"} scanlight.conf
    fi
    set_owners
}

# A version that knows none goes without.
place_completion() {
    mkdir -p "$(dirname "$completion")"
    if "$opt/current/bin/scanlight" completion bash >"$completion.new" 2>/dev/null; then
        install -C -m 644 "$completion.new" "$completion"
    fi
    rm "$completion.new"
}

set_owners() {
    if [ "$(id -u)" = 0 ]; then
        systemd-tmpfiles ${root:+--root="$root"} --create scanlight.conf
    fi
}

configure() {
    version=$(version_of current)
    [ -n "$version" ] || fail "Scanlight is not installed here: run install.sh install WHEEL first."
    [ -f "$config" ] || fail "There is no $config: $opt/current/bin/scanlight config example prints one to start from."
    accepts_configuration "$version" || fail "The configuration was not put to use: mend it and run install.sh configure again."
    set_owners
    start_with restart
}

# With the sandbox opened for what the configuration names. A service that runs is left alone by "start".
start_with() {
    "$opt/current/bin/scanlight" config drop-in "$config" >"$dropin.new"
    install -C -m 644 "$dropin.new" "$dropin"
    rm "$dropin.new"
    if live; then
        systemctl daemon-reload
        systemctl enable --quiet scanlight
        systemctl "$1" scanlight ||
            fail "Scanlight $version does not start, and is tried again every five seconds: journalctl -u scanlight -n 20 tells why."
        echo "Scanlight $version runs: systemctl status scanlight"
    else
        echo "Scanlight $version is installed; no service manager runs here to start it."
    fi
}

stop() {
    if live && systemctl cat scanlight >/dev/null 2>&1; then
        systemctl stop scanlight
    fi
}

roll_back() {
    version=$(version_of previous)
    [ -n "$version" ] || fail "There is no version before this one: install the one that you want from its wheel."
    switch_to "$version"
    place_units
    [ ! -f "$config" ] || start_with start
}

# What is made in the state folder belongs to the service.
as_service() {
    if [ -z "$root" ] && id scanlight >/dev/null 2>&1; then
        runuser -u scanlight -- "$@"
    else
        "$@"
    fi
}

uninstall() {
    stop
    if live; then
        systemctl disable --quiet scanlight 2>/dev/null || true
    fi
    rm -f "$library/systemd/system/scanlight.service" "$library/sysusers.d/scanlight.conf" "$library/tmpfiles.d/scanlight.conf" "$dropin" "$completion" "$command_link"
    rmdir "$(dirname "$dropin")" 2>/dev/null || true
    rm -rf "$opt"
    if live; then
        systemctl daemon-reload
    fi
    echo "Scanlight is removed. Its configuration $config, its state folder and the user scanlight, to whom that belongs, are left."
}

main "$@"
exit
