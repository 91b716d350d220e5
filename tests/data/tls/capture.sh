#!/bin/bash
# Makes the captures of this directory: hellos of real clients against servers on loopback, within a
# network namespace of their own. Needs root, tcpdump, openssl, curl, gnutls-bin, python3, chromium.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" != inside ]; then
    exec unshare --net -- "$0" inside
fi
ip link set lo up
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/O=Tawon/CN=server.test" \
    -addext "subjectAltName=DNS:server.test,DNS:www.server.test,IP:127.0.0.1" -keyout key.pem -out cert.pem 2>/dev/null
identity=(-cert cert.pem -key key.pem)

mkfifo idle
exec 3<>idle
port=4400
# serve OPTION... : a server on the next port, once it listens
serve() {
    port=$((port + 1))
    # its standard input stays open and gives nothing: what it would give goes to the client
    openssl s_server "${identity[@]}" -port "$port" -quiet "$@" <&3 >/dev/null 2>&1 &
    for _ in $(seq 100); do
        ss -Hltun "sport = :$port" | grep -q . && return
        sleep 0.05
    done
    echo "no server on $port" >&2
    exit 1
}

# record NAME COMMAND... : what goes over loopback while the command runs
record() {
    local name=$1
    shift
    tcpdump -q -i lo -s 0 -c 60 -U --immediate-mode -w "$here/$name.pcap" "port $port" 2>tcpdump.log &
    local dump=$!
    until grep -q listening tcpdump.log; do sleep 0.05; done
    timeout 20 "$@" </dev/null >/dev/null 2>&1 || true
    # the last packets are in the file when it has not grown for a while
    local before=-1
    while [ "$before" != "$(stat -c %s "$here/$name.pcap")" ]; do
        before=$(stat -c %s "$here/$name.pcap")
        sleep 0.3
    done
    kill -INT "$dump" 2>/dev/null || true
    wait "$dump" || true
}

to() { echo "server.test:$port:127.0.0.1"; }

serve -www -alpn h2,http/1.1
record curl curl -sk --max-time 5 --resolve "$(to)" "https://server.test:$port/"
record curl-tls12 curl -sk --max-time 5 --tls-max 1.2 --resolve "$(to)" "https://server.test:$port/"
record python python3 -c "
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(['h2', 'http/1.1'])
with context.wrap_socket(socket.create_connection(('127.0.0.1', $port)), server_hostname='server.test'):
    pass"
record python-refuses python3 -c "
import socket, ssl
ssl.create_default_context().wrap_socket(socket.create_connection(('127.0.0.1', $port)), server_hostname='server.test')"
record gnutls-cli sh -c "echo | gnutls-cli --insecure --sni-hostname server.test --alpn h2 -p $port 127.0.0.1"
record chromium timeout -s INT 10 chromium --headless --no-sandbox --disable-gpu --disable-quic --user-data-dir="$work/chromium" \
    --ignore-certificate-errors --host-resolver-rules="MAP server.test 127.0.0.1" --dump-dom "https://server.test:$port/"
record openssl sh -c "echo Q | openssl s_client -connect 127.0.0.1:$port -servername server.test"
record openssl-tls12 sh -c "echo Q | openssl s_client -connect 127.0.0.1:$port -servername server.test -tls1_2"
record openssl-tls10 sh -c "echo Q | openssl s_client -connect 127.0.0.1:$port -tls1 -cipher ALL:@SECLEVEL=0"
serve -groups P-384
record openssl-retry sh -c "echo Q | openssl s_client -connect 127.0.0.1:$port -servername server.test -groups X25519:P-384"
# a hello in records of 512 bytes and more than one segment
serve -www
record openssl-fragments sh -c "echo Q | openssl s_client -connect 127.0.0.1:$port -servername server.test -max_send_frag 512 -alpn \
    $(seq -s, 1 400 | sed 's/[0-9]*/protocol-&/g')"
serve -dtls1_2 -listen -mtu 1400
record openssl-dtls sh -c "echo Q | openssl s_client -dtls1_2 -connect 127.0.0.1:$port -servername server.test"
serve -dtls1_2 -mtu 300
record openssl-dtls-fragments sh -c "echo Q | openssl s_client -dtls1_2 -mtu 300 -connect 127.0.0.1:$port -servername server.test"
record gnutls-dtls sh -c "echo | gnutls-cli --udp --insecure --sni-hostname server.test -p $port 127.0.0.1"
chmod 644 "$here"/*.pcap
