# One stage builds; the other contains the compiled code and the production dependencies.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY proto proto
COPY src src
# For dist/provenance.json: the build has no repository to ask.
ARG SOURCE_COMMIT=unknown
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
# Only published ports of a container can be reached, but without credentials every client that
# reaches one may do everything. So a container needs ANNALS_TOKENS_FILE or ANNALS_ACCESS_FILE, or
# ANNALS_AUTH=false. A sidecar that shares its pod's network sets ANNALS_HOST=127.0.0.1, or
# ANNALS_TCP=false and a Unix socket.
ENV NODE_ENV=production \
    ANNALS_DATA=/data \
    ANNALS_HOST=0.0.0.0 \
    ANNALS_ALLOW_REMOTE=true
WORKDIR /app
# The server gives freed memory back by it (docs/operations.md#memory).
RUN apt-get update && apt-get install --yes --no-install-recommends libjemalloc2 \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o node -g node /data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY proto proto
COPY LICENSE NOTICE ./
# A start finds what V8 has compiled there.
RUN chmod +x dist/bin.js && ln -s /app/dist/bin.js /usr/local/bin/annals \
  && install -d -o node -g node dist/program/.compiled
USER node
# With these settings, and the flags below, the program need not execute itself anew (src/bin.ts).
ENV MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=262144 \
    MALLOC_CONF=narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0 \
    LD_PRELOAD=libjemalloc.so.2
# The first start; what it compiles is kept. An image without that serves as well.
RUN timeout 10 annals serve --memory --port 0 || true
VOLUME /data
EXPOSE 7420
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["annals", "health"]
# As the image of `npm run packages`: any command may take the place of `serve`.
ENTRYPOINT ["node", "--max-semi-space-size=8", "--initial-old-space-size=64", "--expose-gc", "/app/dist/bin.js"]
CMD ["serve"]
