# One image for both: `cistern scheduler` under Marathon, `cistern executor` on agents that run images
# (CISTERN_EXECUTOR_IMAGE). The first stage builds the release, the second holds nothing else.
FROM node:20-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run release && mkdir /out && tar xzf dist/release/cistern.tar.gz -C /out

FROM debian:bookworm-slim
# The release brings its own Node.js; its C++ library is Debian's.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libstdc++6 ca-certificates \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/cistern /opt/cistern
ENV CISTERN_ARTEFACT_DIR=/opt/cistern/dist/artefact
ENTRYPOINT ["/opt/cistern/bin/cistern"]
CMD ["scheduler"]
