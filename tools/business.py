#!/usr/bin/env python3
"""A customer's business system, as small as it can be: it answers context requests and receives results.

Every request is verified with the public Standard Webhooks library. What arrives is printed as one JSON object per line:
{"kind": "context" | "push" | "webhook", "id": ..., "verified": true, "body": {...}}
"""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def make_handler(secret: str, context: dict):
    webhook = Webhook(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            kind = {"/context": "context", "/outcome": "push", "/webhooks": "webhook"}.get(self.path)
            if kind is None:
                return self.reply(404, {"error": f"nothing at {self.path}"})
            try:
                body = webhook.verify(raw, dict(self.headers))
            except WebhookVerificationError as error:
                self.tell(kind, False, {"error": str(error)})
                return self.reply(401, {"error": "the signature does not fit"})
            self.tell(kind, True, body)
            self.reply(200, context if kind == "context" else {"ok": True})

        def tell(self, kind, verified, body):
            line = {"kind": kind, "id": self.headers.get("webhook-id"), "verified": verified, "body": body}
            print(json.dumps(line, ensure_ascii=False), flush=True)

        def reply(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which the first line of the output names")
    parser.add_argument("--secret", required=True, help="whsec_…")
    parser.add_argument("--context", default="{}", help="the JSON object that context requests are answered with")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), make_handler(args.secret, json.loads(args.context)))
    print(json.dumps({"kind": "listening", "port": server.server_address[1]}), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
