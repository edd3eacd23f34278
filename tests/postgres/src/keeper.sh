# Keeps one PostgreSQL for the process at the other end of stdin, and takes it away when that process ends, however it
# ends: then stdin does. Words come in and answers go out line by line. Runs as a user that PostgreSQL accepts.
bin=$1
folder=$(mktemp -d /tmp/callbox-postgres.XXXXXX)
trap '' INT TERM HUP
# A collation of a language, so that what sorts only by bytes is found out. Nothing here outlives a crash of the machine;
# what was committed outlives the server being killed, so commits are not put off.
"$bin/initdb" -D "$folder/data" -U callbox -A trust -E UTF8 --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US \
    --no-sync > "$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; rm -rf "$folder"; exit 1; }
while read -r word argument care; do
    case $word in
        start)
            # One whose speed is measured is as careful as in earnest.
            [ "$care" = durable ] || care="-c fsync=off -c full_page_writes=off"
            "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 start -o "-p $argument -c listen_addresses=127.0.0.1 \
                -c unix_socket_directories='' -c max_connections=400 -c shared_buffers=64MB ${care#durable} \
                -c autovacuum=off -c max_wal_size=4GB" \
                > /dev/null 2>&1 < /dev/null && echo started || { tail -3 "$folder/log" >&2; echo failed; }
            ;;
        # As when it is killed: no goodbye to its clients.
        stop) "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop > /dev/null 2>&1; echo stopped ;;
        folder) echo "$folder" ;;
    esac
done
"$bin/pg_ctl" -D "$folder/data" -m immediate -w stop > /dev/null 2>&1
rm -rf "$folder"
