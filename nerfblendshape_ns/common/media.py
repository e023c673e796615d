"""How files of sound and pictures are opened."""

PLAIN_MEDIA = {
    "protocol_whitelist": "file,pipe",
    "format_whitelist": "3g2,3gp,aac,ac3,aiff,amr,asf,au,avi,caf,dv,eac3,flac,flv,m4a,m4v,matroska,mj2,mjpeg,mov,mp3,"
    "mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,w64,wav,webm",
}
"""Options with which FFmpeg opens local files that hold their sound and picture themselves, and nothing else: playlists
and scripts (HLS, DASH, concat) name other files and addresses that it would open."""
