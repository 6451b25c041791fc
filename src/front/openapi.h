/* GET /openapi.json: the description of the HTTP API, part of the program. Runs in the front. */
#pragma once

struct front;
struct exchange;

void openapi_get(struct front *f, struct exchange *x);
